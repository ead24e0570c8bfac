/** The development server must leave the packages where their files are. */

export default { optimizeDeps: { exclude: ["tabtune", "tabtune-base"] } };
