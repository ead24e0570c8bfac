/** The frame that all four cards share: waiting, open or done, with a banner if something went wrong. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { type Card, cards, changing, training } from "../state";
import { Banner } from "./banner";
import { lookAt } from "./look_at";
import "./card.css";

interface Props {
  card: Card;
  number: number;
  title: string;
  /** One sentence for the waiting card. */
  waiting: ComponentChildren;
  /** One line for the card that is done. */
  done: ComponentChildren;
  /** The label of the button on the done line. */
  change?: string;
  /** Shown whether the card is open or not. */
  always?: ComponentChildren;
  children: ComponentChildren;
}

export function CardFrame({ card, number, title, waiting, done, change = "Change", always, children }: Props) {
  const state = cards.value[card];
  const heading = useRef<HTMLHeadingElement>(null);
  const before = useRef(state);
  useEffect(() => {
    if (state === "open" && before.current !== "open" && heading.current) lookAt(heading.current);
    before.current = state;
  }, [state]);
  return (
    <section class={`card ${state}`} id={card} aria-labelledby={`${card}-title`}>
      <div class="card-head">
        <h2 id={`${card}-title`} ref={heading} tabIndex={-1}>
          <span class="number">{number}</span> {title}
        </h2>
        {state === "done" && (
          <>
            <p class="done-line">{done}</p>
            <button
              type="button"
              aria-label={`${change}: ${title}`}
              disabled={training.value}
              onClick={() => {
                changing.value = card;
              }}
            >
              {change}
            </button>
          </>
        )}
      </div>
      <Banner place={card} />
      {state === "waiting" && <p class="quiet">{waiting}</p>}
      {always}
      {state === "open" && children}
    </section>
  );
}
