/** The message that an answer is an answer to, apart from it. */

import "./asked.css";

export function Asked({ message }: { message: string }) {
  return (
    <p class="asked">
      <span class="visually-hidden">Your message: </span>
      {message}
    </p>
  );
}
