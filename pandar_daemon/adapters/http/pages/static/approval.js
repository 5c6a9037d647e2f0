// Makes the page of an approval link pleasant; all of it works without this.
"use strict";
(() => {
  const main = document.querySelector("main[data-state]");
  if (!main) return;
  const byId = (id) => document.getElementById(id);

  // --- times in the reader's own zone ---

  const near = { hour: "2-digit", minute: "2-digit", day: "numeric", month: "short", year: "numeric" };
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    time.title = time.textContent;
    time.textContent = at.toLocaleString(undefined, near);
  }

  // --- how long there is left; a screen reader hears of it rarely ---

  const deadline = document.querySelector("[data-until]");
  if (deadline) {
    const until = Date.parse(deadline.dataset.until);
    const skew = Date.parse(deadline.dataset.now) - Date.now();
    const left = byId("left");
    const announced = byId("announced");
    const told = new Set([60, 30, 15, 10, 5, 4, 3, 2, 1]);
    const words = (seconds) => {
      const [d, h, m, s] = [seconds / 86400, (seconds / 3600) % 24, (seconds / 60) % 60, seconds % 60].map(Math.floor);
      if (seconds <= 0) return "Time is up";
      if (d) return `${d} d ${h} h left`;
      if (h) return `${h} h ${m} min left`;
      return m ? `${m} min ${s} s left` : `${s} s left`;
    };
    const tick = () => {
      const seconds = Math.ceil((until - Date.now() - skew) / 1000);
      left.textContent = words(seconds);
      left.classList.toggle("soon", seconds < 300);
      const minutes = Math.ceil(seconds / 60);
      if (told.has(minutes) && seconds <= minutes * 60 - 1) {
        told.delete(minutes);
        announced.textContent = `${minutes} minute${minutes === 1 ? "" : "s"} left to decide`;
      }
      if (seconds > 0) setTimeout(tick, 1000);
    };
    for (const minutes of [...told]) if (until - Date.now() - skew < minutes * 60000) told.delete(minutes);
    tick();
  }

  // --- the form: no empty request for changes, no second press ---

  const form = document.querySelector("form");
  const reason = byId("reason");
  if (form && reason) {
    byId("inert").addEventListener("click", (event) => event.preventDefault());
    reason.addEventListener("input", () => reason.setCustomValidity(""));
    for (const button of form.querySelectorAll("button[name=decision]")) {
      button.addEventListener("click", () => {
        const chosen = form.querySelector("input[name=choice]:checked");
        const lacking = button.value === "changes" && !chosen && !reason.value.trim();
        reason.setCustomValidity(lacking ? reason.dataset.needed : "");
      });
    }
    form.addEventListener("submit", () => {
      form.setAttribute("aria-busy", "true");
      setTimeout(() => {
        for (const button of form.querySelectorAll("button")) button.disabled = true;
      });
    });
    window.addEventListener("pageshow", (event) => {
      if (!event.persisted) return;
      form.removeAttribute("aria-busy");
      for (const button of form.querySelectorAll("button[name=decision]")) button.disabled = false;
    });
  }

  // --- what became of it ---

  const again = byId("again");
  if (again) again.parentElement.hidden = true;
  const address = location.pathname.replace(/\/$/, "");
  let pause = main.dataset.state === "pending" ? 4000 : 1500;
  const look = async () => {
    if (!document.hidden && !(form && form.hasAttribute("aria-busy"))) {
      try {
        const answer = await fetch(`${address}/state`, { credentials: "omit", cache: "no-store" });
        if (answer.ok) show(await answer.json());
        else pause = Math.min(pause * 2, 60000);
      } catch {
        pause = Math.min(pause * 2, 60000);
      }
    }
    if (main.dataset.live === "yes") setTimeout(look, pause);
  };
  const show = (now) => {
    if (now.state !== main.dataset.state || String(now.votes) !== main.dataset.votes) {
      location.replace(address);
      return;
    }
    pause = Math.min(pause * 1.1, 10000);
    main.dataset.live = now.live ? "yes" : "no";
    const task = byId("task");
    if (task && task.textContent !== now.task) task.textContent = now.task;
  };
  if (main.dataset.live === "yes") setTimeout(look, pause);
})();
