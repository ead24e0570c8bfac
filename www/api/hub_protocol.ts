/** What a page and its download worker say to each other: ids of models and files, and never a word of a text. */

import type { PlainError } from "./errors";
import type { ModelFiles } from "./weights";

/** A model of the Hub as it was asked for. */
export interface Wanted {
  /** `org/name`, or `org/name/file.gguf`. */
  id: string;
  /** A branch, a tag or a commit. */
  revision: string;
  /** The address of the Hub. */
  hub: string;
  token?: string;
}

export interface HubFile {
  path: string;
  bytes: number;
  /** SHA-256 in 64 digits; of small files, 40 digits of SHA-1 as git computes it. */
  hash: string;
}

/** A model of the Hub at one commit. */
export interface HubModel extends Omit<Wanted, "token"> {
  commit: string;
  /** As the model card names it; null if it does not. */
  licence: string | null;
  /** The files that are needed, the smallest first. */
  files: HubFile[];
  bytes: number;
}

/** What is known of a model before it is fetched. */
export interface Found {
  model: HubModel;
  /** Files from which the memory of a run can be told: all but the config and the weights' headers is left blank. */
  outline: ModelFiles | null;
}

export interface Fetched {
  model: HubModel;
  /** By the paths of the model's files. */
  blobs: Map<string, Blob>;
  /** Whether they are in the browser's storage. Otherwise they are in memory, and end with the tab. */
  kept: boolean;
}

export interface Progress {
  /** In bytes, what was there before included. */
  done: number;
  total: number;
  /** Of the last seconds; 0 until it is known. */
  bytesPerSecond: number;
  /** Null until the speed is known. */
  etaMs: number | null;
  /** The server is given so long before it is asked again; 0 while bytes arrive. */
  waitingMs: number;
  kept: boolean;
}

export type ToDownloader = { call: "look" | "fetch"; wanted: Wanted } | { call: "stop" };

export type FromDownloader =
  /** A request goes out. */
  | { type: "request" }
  | { type: "progress"; progress: Progress }
  | { type: "found"; found: Found }
  | { type: "fetched"; fetched: Fetched }
  | { type: "failure"; error: PlainError };
