/** The only class of errors that leaves the package: a stable `code`, a message, and a hint that says what to do. */
export class LoraError extends Error {
  override readonly name = "LoraError";

  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}

/** An error as it crosses `postMessage`. */
export interface PlainError {
  code: string;
  message: string;
  hint: string;
}

export function plainError(error: unknown): PlainError {
  const { code, message, hint } = (error ?? {}) as Partial<PlainError>;
  return {
    code: typeof code === "string" ? code : "internal",
    message: typeof message === "string" ? message : String(error),
    hint: typeof hint === "string" ? hint : "Try again; if it happens again, please report it.",
  };
}

export function loraError(error: unknown): LoraError {
  if (error instanceof LoraError) return error;
  const { code, message, hint } = plainError(error);
  return new LoraError(code, message, hint);
}
