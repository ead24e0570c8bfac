/**
 * A server that behaves as the Hub does: an API with commits, sizes and hashes, small files at its own address, and
 * large ones at another, to which it points with an address that is signed and used once. Faults can be ordered.
 */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

const LARGE = 1_000_000;

/** `models` maps ids to a folder with files, or to what the API says instead. */
export async function hubServer(models) {
  const state = {
    /** What was asked for, as lines. */
    log: [],
    /** What to do to the next requests of a path, first things first. */
    faults: {},
    /** Has the storage ignore ranges. */
    ranges: true,
    /** In milliseconds between the pieces of a large file. */
    slow: 0,
  };
  const signed = new Map();
  const storage = await listening(async (request, response) => {
    const file = signed.get(request.url);
    state.log.push(`storage ${file?.path ?? "?"} ${request.headers.range ?? "whole"}`);
    if (request.headers.authorization) state.log.push("a token went to the storage");
    signed.delete(request.url);
    if (!file) return response.writeHead(403, allowed).end();
    await send(state, file, request, response);
  });
  const hub = await listening(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, "http://hub");
    if (request.method === "OPTIONS") return preflight(state, response);
    const api = pathname.match(/^\/api\/models\/(.+)\/revision\/(.+)$/);
    if (api) {
      state.log.push(`api ${api[1]} ${decodeURIComponent(api[2])}`);
      const fault = state.faults.api?.shift();
      if (fault?.status) return response.writeHead(fault.status, { ...allowed, ...fault.headers }).end();
      const model = models[api[1]];
      if (!model || searchParams.get("blobs") !== "true") return response.writeHead(401, allowed).end();
      return response.writeHead(200, { ...allowed, "Content-Type": "application/json" }).end(describe(model));
    }
    const [, id, commit, path] = pathname.match(/^\/(.+)\/resolve\/(\w+)\/(.+)$/) ?? [];
    const model = models[id];
    if (!model || commit !== model.commit) return response.writeHead(404, allowed).end();
    const file = { path, bytes: contents(model, path) };
    if (file.bytes.length < LARGE) {
      state.log.push(`hub ${path} ${request.headers.range ?? "whole"}`);
      return send(state, file, request, response);
    }
    const address = `/${createHash("sha256").update(String(Math.random())).digest("hex")}?signed=1`;
    signed.set(address, file);
    response.writeHead(302, { ...allowed, Location: storage.address + address }).end();
  });
  return Object.assign(state, {
    address: hub.address,
    storage: storage.address,
    close: () => {
      hub.close();
      storage.close();
    },
  });
}

const allowed = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Expose-Headers": "Retry-After, ETag, Accept-Ranges, Content-Range",
};

function preflight(state, response) {
  state.log.push("preflight");
  response.writeHead(204, { ...allowed, "Access-Control-Allow-Headers": "authorization, range" }).end();
}

function contents({ folder, files }, path) {
  return files?.[path] ?? readFileSync(join(folder, path));
}

function describe(model) {
  const siblings = model.paths.map((rfilename) => {
    const bytes = contents(model, rfilename);
    const blobId = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    const isLarge = bytes.length >= LARGE;
    return { rfilename, size: bytes.length, blobId, ...(isLarge && { lfs: { sha256, size: bytes.length } }) };
  });
  const { commit, gated = false, licence } = model;
  return JSON.stringify({ sha: commit, gated, siblings, tags: licence ? ["en", `license:${licence}`] : ["en"] });
}

async function send(state, { path, bytes }, request, response) {
  const fault = state.faults[path]?.shift() ?? {};
  if (fault.status) return response.writeHead(fault.status, { ...allowed, ...fault.headers }).end();
  const [, from, to] = request.headers.range?.match(/^bytes=(\d+)-(\d*)$/) ?? [];
  const isPart = from !== undefined && state.ranges;
  if (isPart && Number(from) >= bytes.length) return response.writeHead(416, allowed).end();
  let body = isPart ? bytes.subarray(Number(from), to ? Number(to) + 1 : bytes.length) : bytes;
  if (fault.flip) {
    body = Buffer.from(body);
    body[body.length >> 1] ^= 1;
  }
  if (fault.more) body = Buffer.concat([body, Buffer.alloc(fault.more)]);
  const range = isPart && { "Content-Range": `bytes ${from}-${Number(from) + body.length - 1}/${bytes.length}` };
  response.writeHead(isPart ? 206 : 200, { ...allowed, ...range, "Content-Length": body.length });
  if (fault.cut) {
    const part = body.subarray(0, Math.floor(body.length * fault.cut));
    return response.write(part, () => setTimeout(() => response.destroy(), 100));
  }
  if (fault.silent) return response.write(body.subarray(0, Math.floor(body.length * fault.silent)));
  await pour(response, body, state);
}

const PIECE = 1 << 18;

async function pour(response, body, state) {
  for (let at = 0; at < body.length && !response.destroyed; at += PIECE) {
    response.write(body.subarray(at, at + PIECE));
    if (state.slow) await new Promise((resolve) => setTimeout(resolve, state.slow));
  }
  response.end();
}

async function listening(respond) {
  const server = createServer((request, response) => respond(request, response).catch(() => response.destroy()));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { address: `http://127.0.0.1:${server.address().port}`, close: () => server.close() };
}
