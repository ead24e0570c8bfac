/** The three texts that come with the page. They are fetched before the page locks itself. */

import { signal } from "@preact/signals";
import { fetchThing } from "../api/fetching";
import { complain, forgive } from "./trouble";

export interface Sample {
  id: string;
  title: string;
  quote: string;
  prompt: string;
  file: string;
  content: Blob;
}

export const samples = signal<Sample[]>([]);

/** If they cannot be fetched, the page goes on without them, with a button to try again. */
export async function fetchSamples() {
  forgive("samples");
  try {
    const index: Omit<Sample, "content">[] = JSON.parse(await (await file("index.json")).text());
    samples.value = await Promise.all(index.map(async (entry) => ({ ...entry, content: await file(entry.file) })));
  } catch (error) {
    complain("samples", error, { label: "Try again", press: fetchSamples });
  }
}

function file(name: string): Promise<Blob> {
  return fetchThing("the sample texts", `./samples/${name}`, (response) => response.blob());
}
