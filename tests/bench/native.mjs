/** Runs an engine that is a program and writes each step as a line of JSON. */

import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { meter } from "./meter.mjs";

/** The lines come from its standard output, or from the file `log`. */
export async function runProgram(command, args, log) {
  if (log) writeFileSync(log, "");
  const program = spawn(command, args, { stdio: ["ignore", "pipe", "inherit"] });
  const steps = meter();
  const losses = [];
  const ended = new Promise((resolve, reject) => {
    program.once("error", reject);
    program.once("close", resolve);
  });
  for await (const line of createInterface({ input: log ? follow(log, program) : program.stdout })) {
    const event = line.startsWith("{") ? JSON.parse(line) : {};
    if (event.type !== "step") continue;
    steps.end([program.pid]);
    losses.push(event.loss);
  }
  const status = await ended;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ended with status ${status}`);
  return { losses, cpu: steps.cpu(), wall: steps.wall() };
}

/** What the program adds to a file while it runs. */
function follow(file, { pid }) {
  return spawn("tail", ["--lines=+1", "--follow=name", `--pid=${pid}`, file]).stdout;
}
