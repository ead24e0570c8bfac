/** How amounts are written in sentences. */

/** The words around them are English, whatever the language of the browser, which need not even be a valid one. */
const plain = new Intl.NumberFormat("en");

export const count = (n: number): string => plain.format(Math.round(n));

/** "1 row", "41 rows". */
export const counted = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;

export function bytes(n: number): string {
  if (n < 1000) return counted(n, "byte");
  if (n < 1e6) return `${count(n / 1e3)} kB`;
  return n < 1e9 ? `${thin(n / 1e6)} MB` : `${(n / 1e9).toFixed(1)} GB`;
}

/** Two significant digits: "2.2", "0.11", "130". */
export function thin(n: number): string {
  return n >= 10 ? count(n) : String(Number(n.toPrecision(2)));
}
