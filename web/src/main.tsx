import { QueryClientProvider } from "@tanstack/react-query";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import { start } from "./session";
import { Boundary, Broken } from "./shell/Boundary";
import { queries } from "./state/client";
import "./theme.css";
import "./list.css";
import "./shell.css";
import "./dialogs.css";
import "./shell/panels.css";
import "./conversation.css";
import "./composer.css";
import "./tools.css";
import "./content.css";

const root = document.getElementById("root");
if (root !== null) {
  start();
  createRoot(root).render(
    <Boundary otherwise={<Broken />} onError={(error) => console.error(error)}>
      <QueryClientProvider client={queries}>
        <App />
      </QueryClientProvider>
    </Boundary>,
  );
}
