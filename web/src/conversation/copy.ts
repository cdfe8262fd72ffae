import { toast } from "../toast";

/** Without TLS browsers give no clipboard, but on the machine itself. */
export async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    toast("This browser does not let the page copy.");
    return false;
  }
}
