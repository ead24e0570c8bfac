/** The result as it is printed: what was used, how it learnt, before and after. Only a page being printed has it. */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { after, seed } from "../compare";
import { isFromShelf } from "../kept";
import { knobsOf } from "../knobs";
import { ending } from "../outcome";
import type { Run } from "../progress";
import { adapter, cards, model, openedFrom, run, text } from "../state";
import { bytes, counted, parameters } from "../words";
import { Chart } from "./chart";
import { Lines, LossTable } from "./curve";
import { SideBySide } from "./side_by_side";
import { Timeline } from "./timeline";
import "./sheet.css";

export function Sheet() {
  const printing = useSignal(false);
  useEffect(() => {
    const start = () => {
      printing.value = true;
    };
    const end = () => {
      printing.value = false;
    };
    window.addEventListener("beforeprint", start);
    window.addEventListener("afterprint", end);
    return () => {
      window.removeEventListener("beforeprint", start);
      window.removeEventListener("afterprint", end);
    };
  }, [printing]);
  return printing.value && cards.value.keep === "open" ? <Result /> : null;
}

function Result() {
  const cancelled = run.value?.outcome?.reason === "cancelled";
  const learnt = openedFrom.value || isFromShelf.value || cancelled ? null : run.value;
  const { title, origin } = introduced(learnt);
  return (
    <article class="sheet">
      <p class="brand">tabtune</p>
      <h1>{title}</h1>
      {adapter.value?.method === "full" ? (
        <p>This model, whose layers have all learnt, {origin}.</p>
      ) : (
        <p>An adapter is a small file that changes how a language model writes. This one {origin}.</p>
      )}
      <p class="quiet">Printed on {new Date().toLocaleDateString("en-GB", { dateStyle: "long" })}.</p>
      <h2>What was used</h2>
      <Facts learnt={learnt} />
      {learnt && <Learning run={learnt} />}
      <h2>Before and after</h2>
      <p class="quiet">
        The same {after.value.asked?.asMessage ? "message" : "beginning"}, with the same random numbers (seed {seed}).
      </p>
      <SideBySide />
    </article>
  );
}

function introduced(learnt: Run | null): { title: string; origin: string } {
  if (openedFrom.value) return { title: `The adapter ${openedFrom.value}`, origin: "was opened from a file" };
  if (!learnt) return { title: "A language model and its adapter", origin: "was trained in a browser tab" };
  const title = `A language model that learnt from ${text.value?.name}`;
  return { title, origin: `was trained in a browser tab: ${ending(learnt)}` };
}

function Facts({ learnt }: { learnt: Run | null }) {
  const kept = adapter.value;
  const info = model.value.state === "ready" ? model.value.info : null;
  const config = learnt?.events.findLast((event) => event.type === "config");
  return (
    <dl class="facts">
      {config && text.value && (
        <Fact name="Text">
          {text.value.name}, {bytes(text.value.bytes)}: {counted(config.rows, "row")}, {config.heldOut} held out
        </Fact>
      )}
      {info && (
        <Fact name="Model">
          {info.name}, {parameters(info.parameters)} parameters
        </Fact>
      )}
      {kept && (
        <Fact name={kept.method === "full" ? "Trained" : "Adapter"}>
          {parameters(kept.parameters)} parameters
          {kept.method === "full" ? "" : `, rank ${kept.rank}, alpha ${kept.alpha}`}
          {learnt && `, kept from step ${kept.step}`}
        </Fact>
      )}
      {config &&
        knobsOf(config.settings).map(({ key, label, unit, choices }) => (
          <Fact key={key} name={unit ? `${label} (${unit})` : label}>
            {choices?.find(({ value }) => value === config.settings[key])?.label ?? String(config.settings[key])}
          </Fact>
        ))}
    </dl>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

function Learning({ run: learnt }: { run: Run }) {
  return (
    <>
      <h2>How it learnt</h2>
      <figure class="curve">
        <figcaption>
          How surprised the model was by the text <span class="quiet">(loss, nats per token); lower is better</span>
        </figcaption>
        <Chart run={learnt} />
        <Lines run={learnt} />
        <LossTable run={learnt} />
      </figure>
      <Timeline samples={learnt.samples} isChat={text.value?.dataset?.isChat ?? false} />
    </>
  );
}
