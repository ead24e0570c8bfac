/** What is dropped on the page, wherever that is: files, folders and words from elsewhere. */

import { signal } from "@preact/signals";
import { bring } from "./bring";
import { unnamed } from "./columns";
import { dropped } from "./folders";
import { isLink } from "./refused";
import { training } from "./state";
import { takeWords } from "./text";
import { complain, troubles } from "./trouble";

/** What would become of the files that are held over the page. */
export const dropHint = signal<string | null>(null);

/** Something of the page itself is being dragged. */
let own = false;

export function watchDrops() {
  window.addEventListener("dragstart", () => {
    own = true;
  });
  window.addEventListener("dragend", () => {
    own = false;
  });
  window.addEventListener("dragover", (event) => {
    if (isForBox(event)) return;
    event.preventDefault();
    if (!own && holdsFiles(event)) dropHint.value = hint();
  });
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) dropHint.value = null;
  });
  window.addEventListener("drop", (event) => {
    dropHint.value = null;
    if (isForBox(event)) return;
    event.preventDefault();
    if (!own && event.dataTransfer) receive(event.dataTransfer);
    own = false;
  });
}

const holdsFiles = ({ dataTransfer }: DragEvent) => dataTransfer?.types.includes("Files") ?? false;

/** Words that are dragged into a box belong there. */
function isForBox(event: DragEvent): boolean {
  return !holdsFiles(event) && event.target instanceof Element && event.target.closest("textarea, input") !== null;
}

function hint(): string {
  return training.value
    ? "The model is training: stop it first, or drop this when it is done"
    : "Drop your text to read it here";
}

async function receive(transfer: DataTransfer) {
  const words = transfer.getData("text/plain");
  if (transfer.types.includes("Files")) await bring(dropped(transfer));
  else if (transfer.types.includes("text/uri-list")) complain("text", isLink());
  else if (words.trim() !== "") await takeWords("Dropped text", "dropped.txt", words);
  // A question for the columns has taken the focus already.
  if (troubles.value.text && !unnamed.value) document.getElementById("text-title")?.focus();
}
