import { type FormEvent, useEffect, useRef, useState } from "react";
import { useSession } from "../session";

/** A token once; from then on the browser has a cookie. */
export function SignIn() {
  const { launcher, signIn, signInHere } = useSession();
  const [problem, setProblem] = useState("");
  const [busy, setBusy] = useState(false);

  const attempt = async (enter: () => Promise<void>) => {
    setBusy(true);
    setProblem("");
    try {
      await enter();
    } catch (error) {
      setProblem(error instanceof Error ? error.message : "That did not work.");
    }
    setBusy(false);
    field.current?.select();
  };
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // On a phone it would bring up the keyboard over the words.
    if (!matchMedia("(pointer: coarse)").matches) field.current?.focus();
  }, []);
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const token = String(new FormData(event.currentTarget).get("token") ?? "");
    if (token.trim() !== "") void attempt(() => signIn(token));
  };

  return (
    <form className="sign-in" onSubmit={submit}>
      {launcher && (
        <>
          <button
            type="button"
            className="primary"
            disabled={busy}
            onClick={() => attempt(signInHere)}
          >
            Sign in on this machine
          </button>
          <p className="or quiet">or with a token</p>
        </>
      )}
      <label htmlFor="token">Access token</label>
      <input
        ref={field}
        id="token"
        name="token"
        type="password"
        autoComplete="off"
        aria-describedby="token-help token-problem"
        aria-invalid={problem !== ""}
      />
      <p id="token-help" className="quiet">
        Yours comes from whoever runs this service. In development <code>parley token</code> prints
        one.
      </p>
      <p id="token-problem" className="problem" role="alert">
        {problem}
      </p>
      <button type="submit" className={launcher ? "secondary" : "primary"} disabled={busy}>
        Sign in
      </button>
    </form>
  );
}

export function SignInPage() {
  return (
    <main className="sign-in-page">
      <h1>Parley</h1>
      <p className="quiet">Ask, and the answer arrives, whatever happens on the way.</p>
      <SignIn />
    </main>
  );
}
