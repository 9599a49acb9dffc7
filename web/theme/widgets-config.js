// ipywidgets asks MathJax 2's queue to typeset a label; MathJax 3 has a promise instead. Runs after MathJax (both defer).
window.MathJax.Hub = {
  Queue: ([, , element]) => window.MathJax.startup.promise.then(() => window.MathJax.typesetPromise([element])),
};
