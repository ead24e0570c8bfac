/** The models of the list: each a button and, once the Hub was asked, its size, its licence and what a run takes. */

import { useEffect } from "preact/hooks";
import { askAboutAll, asking, isTold, LIST, type Listed, leaveList, listed } from "../hub_list";
import { hostName, look, show } from "../hub_models";
import { bytes, counted, parameters } from "../words";
import { memoryOf } from "./picker";
import { Quoted } from "./quoted";

export function HubList() {
  useEffect(() => leaveList, []);
  return (
    <>
      <ul class="hub-list">
        {listed.value.map(({ id, known }) => (
          <li key={id}>
            <button
              type="button"
              class="small"
              onClick={() => (known && "model" in known && known.foreseen ? show(known) : look(id))}
            >
              {id}
            </button>{" "}
            {asking.value === id ? "is being asked about…" : known && <About known={known} />}
          </li>
        ))}
      </ul>
      {!isTold.value && (
        <div class="buttons">
          <button type="button" class="small" disabled={asking.value !== null} onClick={askAboutAll}>
            Ask {hostName} about all {LIST.length}: sizes, licences, memory
          </button>
        </div>
      )}
    </>
  );
}

function About({ known }: { known: Listed | { gone: string } }) {
  if ("gone" in known)
    return (
      <>
        cannot be had: <Quoted words={known.gone} />.
      </>
    );
  const { model, foreseen, unfit } = known;
  return (
    <>
      {foreseen && `${parameters(foreseen.parameters)} parameters, `}
      {bytes(model.bytes)}, {model.licence ? `licence ${model.licence}` : "no licence named"}
      {foreseen && `; ${counted(foreseen.batch, "row")} of ${foreseen.seqLen} tokens take ${memoryOf(foreseen)}`}
      {unfit && (
        <>
          ; cannot be loaded here: <Quoted words={unfit} />
        </>
      )}
      .
    </>
  );
}
