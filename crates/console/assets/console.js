// Keeps the page up to date. Without this script everything works, but the page only
// changes when it is reloaded.
'use strict';

(() => {
  const live = () => document.getElementById('live');
  if (!live()) return;

  // Fields that the user is editing are not replaced.
  const isBusy = () => {
    const at = document.activeElement;
    return at && live().contains(at) && /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName);
  };

  let asking = null;
  async function refresh() {
    if (isBusy() || asking) return asking;
    asking = (async () => {
      const answer = await fetch(location.href, { headers: { accept: 'text/html', 'x-refresh': '1' } });
      if (!answer.ok) return;
      lost(false);
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const fresh = page.getElementById('live');
      if (!fresh || isBusy()) return;
      const focused = document.activeElement && document.activeElement.id;
      live().replaceWith(document.adoptNode(fresh));
      document.title = page.title;
      begin();
      if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
    })();
    try { await asking; } catch { lost(true); } finally { asking = null; }
  }

  // Countdowns use this machine's monotonic clock, starting from the value of the service.
  let loaded = performance.now();
  function begin() { loaded = performance.now(); tick(); }
  function words(seconds) {
    const [d, h, m, s] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60, Math.floor(seconds) % 60];
    const two = (n) => String(n).padStart(2, '0');
    return (d ? `${d} d ` : '') + `${d ? two(h) : h} h ${two(m)} min ${two(s)} s`;
  }
  let ended = false;
  function tick() {
    for (const it of document.querySelectorAll('[data-seconds]')) {
      const left = Number(it.dataset.seconds) - (performance.now() - loaded) / 1000;
      it.textContent = words(Math.max(0, left));
      if (left <= 0 && !ended) { ended = true; setTimeout(() => { ended = false; refresh(); }, 300); }
    }
  }
  setInterval(tick, 1000);

  function lost(is) {
    const banner = document.getElementById('lost');
    if (banner) banner.hidden = !is;
  }
  const { events: address, every } = document.body.dataset;
  if (address) {
    const events = new EventSource(address);
    events.addEventListener('snapshot', () => { lost(false); if (events.known) refresh(); events.known = true; });
    events.addEventListener('changed', () => { lost(false); refresh(); });
    events.onopen = () => lost(false);
    events.onerror = () => lost(true);
  }
  // Changes without an event are picked up by polling.
  setInterval(() => { if (!document.hidden) refresh(); }, 1000 * Number(every));
  begin();
})();
