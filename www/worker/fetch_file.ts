/** Fetches one file: goes on where it broke off, and takes nothing for whole that does not have the right hash. */

import { LoraError } from "../api/errors";
import type { HubFile } from "../api/hub_protocol";
import { brokeOff, type Line } from "./line";
import type { Meter } from "./meter";
import { Part } from "./part";
import { piecesFrom } from "./pieces";

export async function fetchFile(
  line: Line,
  url: string,
  file: HubFile,
  folder: FileSystemDirectoryHandle | undefined,
  meter: Meter,
): Promise<Blob> {
  const part = await Part.open(file, folder, line.signal);
  meter.correct(part.bytes);
  try {
    if (await isFilled(line, url, part, meter)) return await part.whole();
    // Bytes may be damaged on their way or on the disk: once more, from the start.
    restart(part, meter);
    if (await isFilled(line, url, part, meter)) return await part.whole();
    restart(part, meter);
    throw damaged(file, line);
  } finally {
    part.close();
  }
}

/** Whether all has arrived and is right. */
async function isFilled(line: Line, url: string, part: Part, meter: Meter): Promise<boolean> {
  const { path, bytes } = part.file;
  while (part.bytes < bytes)
    await line.persist(
      `\`${path}\``,
      (moved) => receive(line, url, part, meter, moved),
      (ms) => meter.wait(ms),
    );
  return part.isRight();
}

/** Too many bytes are left as they are: their hash is wrong. */
async function receive(line: Line, url: string, part: Part, meter: Meter, moved: () => void) {
  const response = await line.request(url, part.bytes);
  if (response.status === 416) {
    restart(part, meter);
    throw brokeOff();
  }
  for await (const piece of piecesFrom(response, part.bytes)) {
    part.append(piece);
    meter.add(piece.length);
    moved();
    if (part.bytes > part.file.bytes) return;
  }
  if (part.bytes < part.file.bytes) throw brokeOff();
}

function restart(part: Part, meter: Meter) {
  meter.correct(-part.bytes);
  part.clear();
}

function damaged({ path, bytes, hash }: HubFile, { wanted }: Line): LoraError {
  const kind = hash.length === 64 ? "SHA-256" : "hash";
  return new LoraError(
    "hub_damaged",
    `\`${path}\` of \`${wanted.id}\` arrived damaged twice: it does not have the ${bytes} bytes and the ${kind} that ` +
      "the Hub names",
    "Something between the Hub and this machine changes what is fetched: try another network, or later.",
  );
}
