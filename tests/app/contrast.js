// The contrast of all text that can be seen, by WCAG 2: [ratio, text, element], lowest first.
() => {
  const numbers = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = (colour) => {
    const [red, green, blue] = colour.map((level) =>
      level <= 10.31475 ? level / 255 / 12.92 : ((level / 255 + 0.055) / 1.055) ** 2.4);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const over = ([red, green, blue, alpha = 1], under) =>
    [red, green, blue].map((level, index) => alpha * level + (1 - alpha) * under[index]);
  const background = (element) =>
    element === null
      ? [255, 255, 255]
      : over(numbers(getComputedStyle(element).backgroundColor), background(element.parentElement));
  const text = (element) =>
    [...element.childNodes]
      .filter((node) => node.nodeType === Node.TEXT_NODE)
      .map((node) => node.textContent.trim())
      .join("");
  return [...document.querySelectorAll("body *:not(script, style)")]
    .filter((element) => text(element) && element.getBoundingClientRect().width > 1)
    .filter((element) => element.checkVisibility({ opacityProperty: true }))
    .filter((element) => !element.closest("[disabled], .disabled"))
    .map((element) => {
      const under = background(element);
      const [dark, light] = [over(numbers(getComputedStyle(element).color), under), under]
        .map(luminance)
        .sort((one, other) => one - other);
      return [(light + 0.05) / (dark + 0.05), text(element), element.outerHTML.slice(0, 80)];
    })
    .sort((one, other) => one[0] - other[0]);
}
