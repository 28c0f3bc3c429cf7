// The theme that was chosen the last time, before anything is painted.
try {
  const chosen = localStorage.getItem("jackfield.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is forbidden here: the system's theme it is.
}
