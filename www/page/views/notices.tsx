/** Warnings: one as a sentence, several as a list. */

import type { Notice } from "../../api/types";
import { sentence } from "../words";
import { Quoted } from "./quoted";
import "./notices.css";

export function Notices({ notices }: { notices: Notice[] }) {
  const [first, ...more] = notices.map(({ message }) => message);
  if (first === undefined) return null;
  if (more.length === 0) {
    return (
      <p class="note">
        <Quoted words={sentence(first)} />
      </p>
    );
  }
  return (
    <ul class="note notices" aria-label="What to know about it">
      {[first, ...more].map((message) => (
        <li key={message}>
          <Quoted words={sentence(message)} />
        </li>
      ))}
    </ul>
  );
}
