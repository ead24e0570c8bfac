/** Shows an error of the engine in the card where the visitor can do something about it. */

import type { LoraError, RefusedSetting } from "../api/errors";
import { isLost } from "./engine";
import { isKnob, nameOf } from "./knobs";
import { reset } from "./settings";
import { complain, forgive, type Trouble, toSetting, troubles } from "./trouble";

/** Codes of errors in texts that hold conversations. */
const aboutChats = ["no_chat_template", "conversation", "chat_template"];

const aboutMemory = ["memory_limit", "out_of_memory"];

export function complainWhereItHelps(error: LoraError) {
  const { code } = error;
  if (isLost(error)) return;
  if (code.startsWith("text_") || code.startsWith("data_") || aboutChats.includes(code)) return complain("text", error);
  if (error.setting) return refuseSetting(error, error.setting);
  if (aboutMemory.includes(code)) return blameSettings(error, toSetting("checkpointing"));
  if (code.startsWith("gpu_")) return blameSettings(error, toSetting("batch"));
  complain("train", error);
}

/** What the settings led to, in the card that has them. */
let blamed: Trouble | undefined;

function blameSettings(error: LoraError, button: Trouble["button"]) {
  complain("model", error, button);
  blamed = troubles.peek().model;
}

/** The settings are good now; whatever else the model's card complains of stays. */
export function forgiveSettings() {
  if (blamed && blamed === troubles.peek().model) forgive("model");
}

/** Names the setting as the page does. One without a box can only be set back. */
function refuseSetting(error: LoraError, { name, value, expected }: RefusedSetting) {
  const label = nameOf(name)?.label ?? name;
  const what = { ...error, message: `${label} cannot be ${value}. It must be ${expected}` };
  if (isKnob(name)) return blameSettings(what, toSetting(name));
  const setBack = () => {
    reset(name);
    forgive("model");
  };
  blameSettings(what, { label: "Use the default instead", press: setBack });
}
