/** A sentence of the engine. */

/** Names in backticks are set as code, and their writing direction cannot affect the sentence around them. */
export function Quoted({ words }: { words: string }) {
  const parts = words.split("`");
  return (
    <>
      {parts.map((part, index) =>
        index % 2 === 1 ? (
          <code key={`${index}${part}`}>
            <bdi>{part}</bdi>
          </code>
        ) : (
          part
        ),
      )}
    </>
  );
}
