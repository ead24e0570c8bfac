/** Serves the built page on this machine, with the headers a public host should send too. */

import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const dist = fileURLToPath(new URL("../dist", import.meta.url));

const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".webmanifest": "application/manifest+json",
  ".txt": "text/plain; charset=utf-8",
  ".md": "text/plain; charset=utf-8",
  ".py": "text/plain; charset=utf-8",
};

const scripts = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'";
const trusted = "require-trusted-types-for 'script'; trusted-types";
const sources =
  "style-src 'self'; img-src 'self' data:; worker-src 'self' blob:; manifest-src 'self'; connect-src 'self'";
const forbidden = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const pagePolicy = `${scripts}; ${sources}; ${forbidden}; ${trusted} tabtune-page tabtune-worker tabtune-web-page`;
/** The worker sees the text, so it has no network from its first instruction. */
const workerPolicy = `${scripts}; connect-src 'none'; ${trusted} 'none'`;
/** The download worker sees no text, and reaches the Hub alone. */
const downloadPolicy = (hub) => `${scripts}; connect-src ${hub.join(" ")}; ${trusted} 'none'`;
const HUB = ["https://huggingface.co", "https://*.hf.co"];

/** The service worker fetches the files on its list. */
const offlinePolicy = `default-src 'none'; connect-src 'self'; ${trusted} 'none'`;

function policyOf(path, hub) {
  if (path === "/service-worker.js") return offlinePolicy;
  if (path.startsWith("/assets/worker-")) return workerPolicy;
  return path.startsWith("/assets/download-") ? downloadPolicy(hub) : pagePolicy;
}

function headers(path, hub) {
  const hashed = path.startsWith("/assets/");
  return {
    "Content-Type": types[extname(path)] ?? "application/octet-stream",
    "Content-Security-Policy": policyOf(path, hub),
    "Cache-Control": hashed ? "public, max-age=31536000, immutable" : "no-cache",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
  };
}

/** The endings of the copies that `npm run build` leaves beside the files, best first. */
const copies = { br: ".br", gzip: ".gz" };

/** The file itself, or the best copy of it that the browser takes. */
async function bestOf(file, { "accept-encoding": accepted = "" }) {
  const taken = accepted.split(",").map((each) => each.trim());
  for (const [encoding, ending] of Object.entries(copies)) {
    const found = taken.includes(encoding) && (await stat(file + ending).catch(() => null));
    if (found) return { path: file + ending, size: found.size, encoding };
  }
  return { path: file, size: (await stat(file)).size };
}

async function respond(request, response, hub) {
  const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname)).replace(
    /\/$/,
    "/index.html",
  );
  const file = join(dist, path);
  const found = file.startsWith(dist) ? await stat(file).catch(() => null) : null;
  if (!found?.isFile()) return response.writeHead(404).end();
  const sent = await bestOf(file, request.headers);
  response.writeHead(200, {
    ...headers(path, hub),
    "Content-Length": sent.size,
    Vary: "Accept-Encoding",
    ...(sent.encoding && { "Content-Encoding": sent.encoding }),
  });
  createReadStream(sent.path).pipe(response);
}

/** Resolves to the address once the server listens. Port 0 takes a free port; the download worker may reach `hub`. */
export async function serve(port = 0, hub = HUB) {
  await stat(join(dist, "index.html")).catch(() => {
    throw new Error("the page has not been built: run `make demo`, or `npm run build` here");
  });
  const server = createServer((request, response) => {
    respond(request, response, hub).catch(() => response.writeHead(400).end());
  });
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return { address: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() };
}
