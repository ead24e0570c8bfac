/** The files of tests that are about shaders, and what happens to the card that runs them. */

export const files = ["main_job_gpu", "compiling", "hot_path", "recovery", "non_finite"];
