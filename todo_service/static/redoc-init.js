// ReDoc for the document that the page names.

// It asks its maker's host for a logo, has no option against that, and leaves out a logo that cannot be had. So the address
// of every image that is not in the page itself is made that of an empty one, before anybody is asked for it.
const image = HTMLImageElement.prototype;
const { get, set } = Object.getOwnPropertyDescriptor(image, "src");
const inside = (address) => (String(address).startsWith("data:") ? address : "data:,");
Object.defineProperty(image, "src", {
  get,
  set(address) {
    set.call(this, inside(address));
  },
});
image.setAttribute = function (name, value) {
  Element.prototype.setAttribute.call(this, name, name === "src" ? inside(value) : value);
};

document.body.style.margin = "0";
const place = document.getElementById("redoc");
Redoc.init(
  place.dataset.document,
  {
    disableSearch: true, // it would need a worker made of text, which the page's policy refuses
    nativeScrollbars: true,
    theme: {
      typography: {
        fontFamily: "system-ui, sans-serif",
        headings: { fontFamily: "system-ui, sans-serif" },
        code: { fontFamily: "ui-monospace, monospace" },
      },
    },
  },
  place,
);
