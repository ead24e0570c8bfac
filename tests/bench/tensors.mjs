/** Reads the f32 tensors of a safetensors file: [name, { shape, data }] each. */

export function tensorsOf(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const begin = 8 + Number(view.getBigUint64(0, true));
  const { __metadata__, ...header } = JSON.parse(new TextDecoder().decode(bytes.subarray(8, begin)));
  return Object.entries(header).map(([name, { dtype, shape, data_offsets }]) => {
    if (dtype !== "F32") throw new Error(`${name} has the type ${dtype}`);
    const [from, to] = data_offsets.map((offset) => begin + offset);
    return [name, { shape, data: new Float32Array(bytes.slice(from, to).buffer) }];
  });
}
