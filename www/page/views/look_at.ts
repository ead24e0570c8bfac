/** Moves the focus to a heading and brings the whole of what it is the heading of into sight, or as much as fits. */
export function lookAt(heading: HTMLHeadingElement) {
  heading.focus({ preventScroll: true });
  heading.closest("section")?.scrollIntoView({ block: "nearest" });
}
