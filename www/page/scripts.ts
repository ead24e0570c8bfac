/** The scripts that the page starts. That is a Trusted Types sink: one policy, made once, knows all their addresses. */

import { workerUrl } from "../api/assets";
import { PROGRAM } from "../api/fetch_program";
import { fetchThing } from "../api/fetching";

const addresses = { worker: "", offline: "./service-worker.js" };
type Name = keyof typeof addresses;

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(name: string): string },
  ): { createScriptURL(name: Name): unknown };
}

const policy = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes?.createPolicy("tabtune-page", {
  createScriptURL: (name) => addresses[name as Name],
});

export const addressOf = (name: Name) => (policy?.createScriptURL(name) ?? addresses[name]) as string;

/**
 * The workers that see the text start from a copy of their script: unlike one that is fetched, it has the policy that
 * the page has at that moment, and with it the lock, also on a host that sends no headers.
 */
export async function fetchWorkerScript() {
  const script = await fetchThing(PROGRAM, workerUrl, (response) => response.blob());
  addresses.worker = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
}
