/** Parts of the page that few visitors need: each is a script of its own, fetched when somebody asks for it. */

import { type Signal, signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { unfetched } from "../../api/fetching";
import { complain, type Place } from "../trouble";

export interface Later {
  /** Null until it is there. */
  view: Signal<ComponentType | null>;
  open(): Promise<void>;
}

/** `what` names the part where it cannot be fetched, which the banner of `place` says. */
export function later(place: Place, what: string, load: () => Promise<ComponentType>): Later {
  const view = signal<ComponentType | null>(null);
  const open = async () => {
    try {
      view.value = await load();
    } catch {
      complain(place, unfetched(what));
    }
  };
  return { view, open };
}
