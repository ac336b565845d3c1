// The search of the site runs in a worker, which browsers refuse to pages that
// are opened from the disk. There it runs in a hidden frame instead, so that
// nothing has to be loaded from another server.
class IFrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.waiting = [];
    const frame = document.createElement('iframe');
    frame.hidden = true;
    document.body.append(frame);
    this.inside = frame.contentWindow;
    this.inside.postMessage = (data) => this.tell(this, data);
    const script = this.inside.document.createElement('script');
    script.src = url;
    script.onload = () => {
      for (const data of this.waiting.splice(0)) this.tell(this.inside, data);
      this.waiting = null;
    };
    this.inside.document.body.append(script);
  }

  postMessage(data) {
    if (this.waiting) this.waiting.push(data);
    else this.tell(this.inside, data);
  }

  tell(target, data) {
    setTimeout(() => target.dispatchEvent(new MessageEvent('message', { data })));
  }
}

if (location.protocol === 'file:') {
  window.IFrameWorker = IFrameWorker;
  window.Worker = IFrameWorker;
}
