(() => {
  const dialog = document.getElementById("enlarged");
  if (!dialog) return;
  const [stage, told, before, after, close] = ["stage", "told", "before", "after", "close"].map(
    (name) => dialog.querySelector(`.${name}`),
  );
  const buttons = Array.from(document.querySelectorAll("button.zoom"));
  let at = 0;
  const gallery = (button) => button.closest(".gallery");
  const near = (step) => {
    const next = buttons[at + step];
    return next && gallery(next) === gallery(buttons[at]) ? at + step : -1;
  };
  const show = (place) => {
    at = place;
    const figure = buttons[at].closest("figure");
    stage.replaceChildren(buttons[at].querySelector("svg").cloneNode(true));
    const caption = figure.querySelector("figcaption").cloneNode(true);
    const about = buttons[at].closest(".card").querySelector(".about");
    told.replaceChildren(...(about ? [about.cloneNode(true)] : []), ...caption.childNodes);
    before.setAttribute("aria-disabled", near(-1) < 0);
    after.setAttribute("aria-disabled", near(1) < 0);
  };
  const go = (step) => {
    if (near(step) >= 0) show(near(step));
  };
  buttons.forEach((button, place) => {
    button.addEventListener("click", () => {
      show(place);
      dialog.showModal();
    });
  });
  before.addEventListener("click", () => go(-1));
  after.addEventListener("click", () => go(1));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => buttons[at].focus());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") go(-1);
    if (event.key === "ArrowRight") go(1);
  });
})();
