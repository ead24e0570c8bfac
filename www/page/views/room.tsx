/** How much this browser keeps, and the button that deletes all of it. */

import { useEffect, useState } from "preact/hooks";
import { shelf } from "../kept";
import { otherTabTrains } from "../lock";
import { changingModel, fetchingModel } from "../pick";
import { deleteEverything, emptied, measureRoom, room } from "../room";
import { isFromHub, training } from "../state";
import { bytes } from "../words";
import { Sure } from "./sure";

const QUESTION =
  "Delete everything? Your adapters, an unfinished run, stored models and the offline copy of the page go.";

export function Room() {
  const [asked, ask] = useState(false);
  useEffect(() => {
    measureRoom();
  }, [shelf.value]);
  const done = () => {
    document.getElementById("kept-title")?.focus();
    ask(false);
  };
  const space = room.value;
  return (
    <>
      <p class="quiet">
        {space &&
          `What this address keeps takes ${bytes(space.used)}; this browser allows about ${bytes(space.allowed)}. `}
        Browsers may delete what a page keeps when the disk is full: download what you cannot do without.
      </p>
      {emptied.value && (
        <p role="status">
          <strong>Everything is deleted.</strong> The page keeps a copy of itself again when you open it again.
        </p>
      )}
      {asked ? (
        <Sure question={QUESTION} act={deleteEverything} done={done} />
      ) : (
        <div class="buttons">
          <button
            type="button"
            class="small"
            disabled={
              training.value || otherTabTrains.value || fetchingModel.value || isFromHub.value || changingModel.value
            }
            onClick={() => ask(true)}
          >
            Delete everything…
          </button>
        </div>
      )}
    </>
  );
}
