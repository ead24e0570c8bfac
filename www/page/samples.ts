/** The three texts that come with the page. They are fetched before the page locks itself. */

import { signal } from "@preact/signals";
import { fetchBlob } from "../api/weights";

export interface Sample {
  id: string;
  title: string;
  quote: string;
  prompt: string;
  file: string;
  content: Blob;
}

export const samples = signal<Sample[]>([]);

export async function fetchSamples() {
  const index: Omit<Sample, "content">[] = JSON.parse(await (await fetchBlob("./samples/index.json")).text());
  samples.value = await Promise.all(
    index.map(async (entry) => ({ ...entry, content: await fetchBlob(`./samples/${entry.file}`) })),
  );
}
