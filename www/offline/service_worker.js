/**
 * Serves the page's own files without a network: those of the list below, which the build writes, and nothing else. It
 * takes no messages, and all that it ever fetches is on the list.
 */

/** The SHA-256 of each file, by its path beside this script. */
const FILES = {};
/** That of the list. */
const VERSION = "";

const scope = new URL("./", self.location.href).href;
/** Of the download worker, on a host that sends none with it: it reaches the Hub alone. */
const DOWNLOAD_POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src https://huggingface.co https://*.hf.co; " +
  "require-trusted-types-for 'script'; trusted-types 'none'";
/** Caches belong to all pages of a host; the page deletes those that begin so, too. */
const OWN = `tabtune ${scope} `;
const CACHE = OWN + VERSION;

// Only a version that is here as a whole takes over, and only when no tab uses the old one any more.
self.addEventListener("install", (event) => event.waitUntil(storeAll()));
self.addEventListener("activate", (event) => event.waitUntil(deleteOthers()));
self.addEventListener("fetch", (event) => {
  const path = listed(event.request);
  if (path !== undefined) event.respondWith(serve(path).then((response) => guarded(path, response)));
});

async function storeAll() {
  const cache = await caches.open(CACHE);
  const store = async (path) => cache.put(new URL(path, scope), await fetchWhole(path));
  try {
    await Promise.all(Object.keys(FILES).map(store));
  } catch (error) {
    await caches.delete(CACHE);
    throw error;
  }
}

/** What the browser has from loading the page will do, if it is of this version. */
async function fetchWhole(path) {
  for (const cache of ["default", "reload"]) {
    const response = await fetch(new URL(path, scope), { cache });
    const hash = await crypto.subtle.digest("SHA-256", await response.clone().arrayBuffer());
    if (response.ok && hex(new Uint8Array(hash)) === FILES[path]) return response;
  }
  throw new Error(`${path} is of another version`);
}

const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

async function deleteOthers() {
  for (const name of await caches.keys()) if (name.startsWith(OWN) && name !== CACHE) await caches.delete(name);
}

/** The path of a file on the list; the rest of an address, where settings are, does not count. */
function listed({ method, url }) {
  const { origin, pathname } = new URL(url);
  const address = origin + pathname;
  if (method !== "GET" || !address.startsWith(scope)) return;
  const path = address.slice(scope.length).replace(/^(index\.html)?$/, "./");
  return Object.hasOwn(FILES, path) ? path : undefined;
}

/** Browsers may have deleted what was stored. */
async function serve(path) {
  const address = new URL(path, scope);
  return (await caches.match(address, { cacheName: CACHE })) ?? fetch(address);
}

function guarded(path, response) {
  const policy = "Content-Security-Policy";
  if (!path.startsWith("assets/download-") || response.headers.has(policy)) return response;
  const headers = new Headers(response.headers);
  headers.set(policy, DOWNLOAD_POLICY);
  return new Response(response.body, { status: response.status, headers });
}
