/** The job as the page gets it: its settings, its rows and the bytes of its files. */

export async function fetchJob() {
  const bytes = async (path) => {
    const response = await fetch(`/job/${path}`);
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  };
  const names = ["job.json", "model/config.json", "model/tokenizer.json", "model/model.safetensors", "text.txt"];
  const adapter = ["adapter/adapter_config.json", "adapter/adapter_model.safetensors"];
  const files = {};
  for (const name of [...names, ...adapter]) files[name] = await bytes(name);
  return { ...parse(files["job.json"]), config: parse(files["model/config.json"]), files };
}

const parse = (bytes) => JSON.parse(new TextDecoder().decode(bytes));
