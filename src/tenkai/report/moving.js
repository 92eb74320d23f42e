for (const box of document.querySelectorAll(".moving")) {
  const told = JSON.parse(box.querySelector("script[type='application/json']").textContent);
  const raw = Uint8Array.from(atob(told.points), (c) => c.charCodeAt(0));
  const at = new Uint16Array(raw.buffer);
  const canvas = box.querySelector("canvas"), pen = canvas.getContext("2d");
  const button = box.querySelector("button"), slider = box.querySelector("input");
  const said = box.querySelector("output");
  const last = told.counted.length - 1, size = 2 * told.colours.length;
  let share = 1, begun = null;

  const draw = () => {
    const place = share * last, k = Math.min(Math.floor(place), last - 1), w = place - k;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    pen.globalAlpha = 0.7;
    for (let i = 0; i < size; i += 2) {
      const x = (1 - w) * at[k * size + i] + w * at[(k + 1) * size + i];
      const y = (1 - w) * at[k * size + i + 1] + w * at[(k + 1) * size + i + 1];
      pen.fillStyle = told.palette[told.colours[i / 2]];
      pen.beginPath();
      pen.arc((x / 65535) * canvas.width, (1 - y / 65535) * canvas.height, 4, 0, 7);
      pen.fill();
    }
    slider.value = Math.round(1000 * share);
    const count = (1 - w) * told.counted[k] + w * told.counted[k + 1];
    said.textContent = told.before + Math.round(count) + told.after;
  };
  const stop = () => { begun = null; button.textContent = "Play"; };
  const step = (now) => {
    if (begun === null) return;
    share = Math.min((now - begun) / told.milliseconds, 1);
    draw();
    if (share < 1) requestAnimationFrame(step); else stop();
  };
  const play = () => {
    button.textContent = "Pause";
    if (share >= 1) share = 0;
    begun = performance.now() - share * told.milliseconds;
    requestAnimationFrame(step);
  };
  button.addEventListener("click", () => (begun === null ? play() : stop()));
  slider.addEventListener("input", () => { stop(); share = slider.value / 1000; draw(); });
  draw();
  const still = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (told.play && !still) play();
}
