/** Takes a text again, as the records that it looks like. */

import type { Notice } from "../api/types";
import type { Text } from "./state";
import { take } from "./text";

export const looksLikeRecords = ({ code }: Notice) => code === "looks_like_records";

/** The files get the endings that the warnings name. */
export function takeAsRecords(taken: Text, warnings: Notice[]) {
  const renamed = taken.documents.map((document) => ({ ...document, name: recordsName(document.name, warnings) }));
  return take(taken.name, { ...taken, documents: renamed });
}

function recordsName(name: string, warnings: Notice[]): string {
  const about = warnings.find((each) => looksLikeRecords(each) && isAbout(each, name));
  const ending = about?.message.match(/give it as a (\.\w+) file/)?.[1];
  return ending ? withEnding(name, ending) : name;
}

const isAbout = ({ message }: Notice, name: string) => message.startsWith(`\`${name}\``);

const withEnding = (name: string, ending: string) => name.replace(/(\.[^./]*)?$/, ending);
