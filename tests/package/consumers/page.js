/** Trains, and shows the losses or what went wrong. */

import { train } from "./train.js";

train()
  .catch((error) => ({ code: error.code, message: error.message }))
  .then((shown) => {
    document.querySelector("output").textContent = JSON.stringify(shown);
  });
