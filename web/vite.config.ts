import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// The source is React; what runs is Preact, which has the same interface in a seventh of the bytes.
const preact = {
  "react-dom/client": "preact/compat/client",
  "react-dom": "preact/compat",
  "react/jsx-runtime": "preact/jsx-runtime",
  react: "preact/compat",
};

export default defineConfig({
  plugins: [react()],
  resolve: { alias: preact },
  build: {
    outDir: "../api/page",
    emptyOutDir: true,
    target: "es2022",
    assetsInlineLimit: 0, // nothing inline: the page's policy forbids it
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": process.env.PARLEY_URL ?? "http://127.0.0.1:8000" } },
  test: { include: ["test/**/*.test.ts"] },
});
