"""ChatKit's server protocol over our rows and turns.

Everything here but `request.py` needs the extra `parley[chatkit]`; `routes/chatkit.py` loads it
when somebody first asks. Only the package's types are used, which know no agent and no network.
"""
