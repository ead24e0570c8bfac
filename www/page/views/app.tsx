/** The page from top to bottom: title, promise, four cards, credits. */

import { unnamed } from "../columns";
import { type Theme, theme } from "../settings";
import { model, spoken, text } from "../state";
import { Banner } from "./banner";
import { KeepCard } from "./keep";
import { Kept, KeptButton } from "./kept";
import { ModelCard } from "./model";
import { Sheet } from "./sheet";
import { Strip } from "./strip";
import { DropHint, TextCard } from "./text";
import { TrainCard } from "./train";
import { Offer } from "./unfinished";
import "./app.css";

export function App() {
  return (
    <>
      <Sheet />
      <header class="page-head">
        <p class="brand">tabtune</p>
        <KeptButton />
        <ThemeChoice />
      </header>
      <main>
        <h1>Teach a small language model to write like your text</h1>
        <p class="lead">
          It happens in {model.value.state === "absent" ? "a browser tab" : "this tab"}, on your own machine. You get a
          small file to keep; nothing is uploaded.
        </p>
        <Strip />
        <Banner place="page" />
        <Kept />
        {!text.value && <Offer primary={!unnamed.value} />}
        <TextCard />
        <ModelCard />
        <TrainCard />
        <KeepCard />
      </main>
      <footer>
        The built-in model was trained on books whose authors deserve credit:{" "}
        <a href="./base/SOURCES.md" target="_blank" rel="noopener">
          every work it learnt from, with its licence
        </a>
        ;{" "}
        <a href="./base/README.md" target="_blank" rel="noopener">
          how it was made
        </a>
        .
      </footer>
      <div class="visually-hidden" role="status">
        {spoken}
      </div>
      <DropHint />
    </>
  );
}

function ThemeChoice() {
  return (
    <label class="theme">
      Colours{" "}
      <select
        value={theme.value}
        onChange={(event) => {
          theme.value = event.currentTarget.value as Theme;
        }}
      >
        <option value="auto">same as the system</option>
        <option value="light">light</option>
        <option value="dark">dark</option>
      </select>
    </label>
  );
}
