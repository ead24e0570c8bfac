"use client";

import { useEffect, useState } from "react";
import { train } from "../train.js";

export default function Page() {
  const [shown, show] = useState("");
  useEffect(() => {
    train()
      .catch((error) => ({ code: error.code, message: error.message }))
      .then((losses) => show(JSON.stringify(losses)));
  }, []);
  return <output>{shown}</output>;
}
