/** The scripts that the page starts, which is a Trusted Types sink: one policy, made once, knows their addresses. */

const addresses = { offline: "./service-worker.js" };

interface TrustedTypes {
  createPolicy(
    name: string,
    rules: { createScriptURL(name: string): string },
  ): { createScriptURL(name: string): unknown };
}

const addressOf = (name: string) => addresses[name as keyof typeof addresses];

const policy = (globalThis as { trustedTypes?: TrustedTypes }).trustedTypes?.createPolicy("tabtune-page", {
  createScriptURL: addressOf,
});

export const address = (name: keyof typeof addresses) => (policy?.createScriptURL(name) ?? addressOf(name)) as string;
