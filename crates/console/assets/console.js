// Keeps the page up to date. Without this script everything works, but the page only
// changes when it is reloaded.
'use strict';

(() => {
  const live = () => document.getElementById('live');
  if (!live()) return;
  const { events: address, every } = document.body.dataset;
  const interval = 1000 * Number(every);
  const updateTimeout = 30000;

  // Fields that the user is editing are not replaced.
  const isBusy = () => {
    const at = document.activeElement;
    return at && live().contains(at) && /^(INPUT|TEXTAREA|SELECT)$/.test(at.tagName);
  };

  // 'fresh', 'signed-out' or 'lost': how the last update ended.
  function show(state) {
    for (const notice of ['signed-out', 'lost']) document.getElementById(notice).hidden = state !== notice;
    live().classList.toggle('outdated', state !== 'fresh');
    if (state !== 'lost') expected = performance.now() + 3 * interval;
  }

  // By then an update must have ended, or the page counts as lost.
  let expected = performance.now() + 3 * interval;

  async function update() {
    const headers = { accept: 'text/html', 'x-refresh': '1' };
    const answer = await fetch(location.href, { headers, signal: AbortSignal.timeout(updateTimeout) });
    if (!answer.ok) return 'lost';
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const fresh = page.getElementById('live');
    if (answer.redirected || !fresh) return 'signed-out';
    if (isBusy()) return 'fresh';
    const focused = document.activeElement && document.activeElement.id;
    live().replaceWith(document.adoptNode(fresh));
    document.title = page.title;
    begin();
    if (focused && document.getElementById(focused)) document.getElementById(focused).focus();
    return 'fresh';
  }

  // One update at a time; what happens during an update leads to another one.
  let isUpdating = false;
  let isOutdated = false;
  async function refresh() {
    isOutdated = true;
    if (isUpdating) return;
    isUpdating = true;
    while (isOutdated) {
      isOutdated = false;
      show(await update().catch(() => 'lost'));
    }
    isUpdating = false;
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
    if (!document.hidden && performance.now() > expected) show('lost');
  }
  setInterval(tick, 1000);

  // Browsers allow six connections to one HTTP/1.1 host in all tabs together: a hidden tab has none.
  const [minDelay, maxDelay] = [1000, 60000];
  let events = null;
  let reconnecting = 0;
  let delay = minDelay;
  let isFirstSnapshot = true;
  function connect() {
    if (!address || document.hidden || events) return;
    events = new EventSource(address);
    events.onopen = () => { delay = minDelay; };
    // Each connection begins with a snapshot. The first one is what the page already shows.
    events.addEventListener('snapshot', () => { if (!isFirstSnapshot) refresh(); isFirstSnapshot = false; });
    events.addEventListener('changed', refresh);
    events.onerror = () => {
      refresh();
      // The browser itself reconnects, unless the answer was an error.
      if (events.readyState !== EventSource.CLOSED) return;
      disconnect();
      reconnecting = setTimeout(connect, delay);
      delay = Math.min(2 * delay, maxDelay);
    };
  }
  function disconnect() {
    clearTimeout(reconnecting);
    if (events) events.close();
    events = null;
  }
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return disconnect();
    expected = performance.now() + 3 * interval;
    connect();
    refresh();
  });
  connect();
  // Changes without an event are picked up by polling.
  setInterval(() => { if (!document.hidden) refresh(); }, interval);
  begin();
})();

// Offers known names while one is typed. Without this script, the first ones are offered.
(() => {
  for (const input of document.querySelectorAll('input[data-complete]')) {
    let waiting = 0;
    input.addEventListener('input', () => {
      clearTimeout(waiting);
      waiting = setTimeout(async () => {
        const typed = input.value;
        const address = `${input.dataset.complete}?search=${encodeURIComponent(typed)}`;
        const answer = await fetch(address, { signal: AbortSignal.timeout(10000) }).catch(() => null);
        if (!answer || !answer.ok || answer.redirected) return;
        const found = new DOMParser().parseFromString(await answer.text(), 'text/html');
        if (input.value === typed) input.list.replaceChildren(...found.querySelectorAll('option'));
      }, 200);
    });
  }
})();

// Sums up a form in one sentence while it is filled in. Without this script, only the review does so.
(() => {
  const form = document.querySelector('form[data-summary]');
  if (!form) return;
  const summary = document.getElementById(form.dataset.summary);
  const style = { day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC' };
  const day = (id) => {
    const at = document.getElementById(id).valueAsDate;
    return at ? at.toLocaleDateString('en-GB', style) : '…';
  };

  function end() {
    const chosen = form.querySelector('input[name=end]:checked');
    if (!chosen) return '(no end chosen)';
    const { says, day: id } = chosen.dataset;
    return id ? `${says} ${day(id)}` : says;
  }

  // A quantity in words; null if the field grants none or is not valid.
  function counted(input) {
    const text = input.value.trim();
    const { one, many, unlimited } = input.dataset;
    if (unlimited && text === 'unlimited') return `unlimited ${unlimited}`;
    if (!/^[0-9]+$/.test(text) || /^0+$/.test(text)) return null;
    const number = text.replace(/^0+/, '');
    return `${number} ${number === '1' ? one : many}`;
  }

  function sentence() {
    const customer = form.elements.customer.value.trim();
    const features = form.querySelectorAll('input[name=feature]:checked').length;
    const parts = [features ? `${features} feature${features === 1 ? '' : 's'}` : 'core features only'];
    for (const input of form.querySelectorAll('input[data-many]')) parts.push(counted(input));
    const head = [form.dataset.plan];
    if (customer) head.push(`for ${customer}`);
    if (form.elements.starts.value) head.push(`from ${day('starts')}`);
    return `${head.concat(end()).join(' ')}: ${parts.filter(Boolean).join(', ')}`;
  }

  function show() {
    const text = sentence();
    if (summary.textContent !== text) summary.textContent = text;
    summary.hidden = false;
  }
  // Someone who listens to the page hears the sentence after typing, not for every letter.
  let waiting = 0;
  form.addEventListener('input', () => { clearTimeout(waiting); waiting = setTimeout(show, 250); });
  // Also after going back in the browser, which fills in the form again.
  addEventListener('pageshow', show);
})();
