/** Files for any static host, in dist/. */

export default { output: "export", distDir: "dist" };
