/** Takes a text again, as what it looks like: records, or the words of a web page. */

import type { Notice, TextDocument } from "../api/types";
import type { Text } from "./state";
import { take } from "./text";
import { webText } from "./web_text";

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

/** By its name, or by how it begins, which the engine warns of. */
export function isWebPage({ name }: TextDocument, warnings: Notice[]): boolean {
  return /\.x?html?$/i.test(name) || warnings.some((each) => each.code === "web_page" && isAbout(each, name));
}

/** What is left are texts, and they get the ending of one. */
export function takeWebText(taken: Text, warnings: Notice[]) {
  const plain = async (document: TextDocument) => {
    if (!isWebPage(document, warnings)) return document;
    const words = webText(await document.content.text());
    return { ...document, name: withEnding(document.name, ".txt"), content: new Blob([words]) };
  };
  const documents = Promise.all(taken.documents.map(plain));
  return take(
    taken.name,
    documents.then((documents) => ({ ...taken, documents })),
  );
}

const isAbout = ({ message }: Notice, name: string) => message.startsWith(`\`${name}\``);

const withEnding = (name: string, ending: string) => name.replace(/(\.[^./]*)?$/, ending);
