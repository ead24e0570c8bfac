/** The only class of errors that leaves the package: a stable `code`, a message, and a hint that says what to do. */
export class LoraError extends Error {
  override readonly name = "LoraError";

  constructor(
    readonly code: string,
    message: string,
    readonly hint: string,
    readonly setting?: RefusedSetting,
  ) {
    super(message);
  }
}

/** What an error of the code `setting` is about. */
export interface RefusedSetting {
  /** A key of the settings, unless the mistake is the caller's. */
  name: string;
  value: string;
  expected: string;
}

/** An error as it crosses `postMessage`. */
export interface PlainError {
  code: string;
  message: string;
  hint: string;
  setting?: RefusedSetting | undefined;
}

export function plainError(error: unknown): PlainError {
  const { code, message, hint, setting } = (error ?? {}) as Partial<PlainError>;
  return {
    code: typeof code === "string" ? code : "internal",
    message: typeof message === "string" ? message : String(error),
    hint: typeof hint === "string" ? hint : "Try again; if it happens again, please report it.",
    setting,
  };
}

export function loraError(error: unknown): LoraError {
  if (error instanceof LoraError) return error;
  const { code, message, hint, setting } = plainError(error);
  return new LoraError(code, message, hint, setting);
}
