/** Two workers that share the work, and the port between them. */

import { type PlainError, plainError } from "../api/errors";
import type { FromHelper, Sums, ToHelper } from "../api/protocol";
import type { Ask, Assistant } from "./program";

/** The leader's end: what asks the helper behind the port. */
export function helperBehind(port: MessagePort): Ask {
  let asked = 0;
  const waiting = new Map<number, { resolve(sums: Sums | undefined): void; reject(error: PlainError): void }>();
  const send = (message: ToHelper, transfer: Transferable[] = []) => port.postMessage(message, transfer);
  port.onmessage = ({ data }: MessageEvent<FromHelper>) => {
    const answer = waiting.get(data.id);
    waiting.delete(data.id);
    if ("error" in data) answer?.reject(data.error);
    else answer?.resolve(data.value);
  };
  return (call, input, p) => {
    if (call === "giveUp") return void send({ call });
    const id = ++asked;
    if (call === "prepare") send({ id, call, input });
    else send({ id, call, input, p }, p && [p.buffer]);
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  };
}

/** The helper's end: does one thing after the other. `fail` gets an error that nobody can go on after. */
export function help(assistant: Assistant, port: MessagePort, fail: (error: WebAssembly.RuntimeError) => void) {
  let last: Promise<void> = Promise.resolve();
  let received = 0;
  let givenUp = 0;
  const send = (message: FromHelper, transfer: Transferable[] = []) => port.postMessage(message, transfer);
  const perform = async (asked: Exclude<ToHelper, { call: "giveUp" }>) => {
    if (asked.call === "prepare") return void (await assistant.prepare(asked.input));
    return asked.id > givenUp ? assistant.compute(asked.input, asked.p) : undefined;
  };
  const answer = async (asked: Exclude<ToHelper, { call: "giveUp" }>) => {
    const { id } = asked;
    try {
      const value = await perform(asked);
      send({ id, value }, value && [value.gradient.buffer]);
    } catch (error) {
      if (error instanceof WebAssembly.RuntimeError) fail(error);
      else send({ id, error: plainError(error) });
    }
  };
  port.onmessage = ({ data }: MessageEvent<ToHelper>) => {
    if (data.call === "giveUp") {
      givenUp = received;
      assistant.giveUp();
      return;
    }
    received = data.id;
    last = last.then(() => answer(data));
  };
}
