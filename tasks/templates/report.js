(function () {
  var form = document.getElementById("filters");
  if (!form) return;
  var items = Array.prototype.slice.call(document.querySelectorAll(".transcript"));
  var count = document.getElementById("shown");
  var none = document.getElementById("none-left");
  form.hidden = false;
  function apply() {
    var shown = 0;
    var text = form.elements.text.value.toLowerCase();
    items.forEach(function (item) {
      var keep = ["arm", "category", "attack", "verdict"].every(function (name) {
        var wanted = form.elements[name].value;
        return wanted === "*" || item.getAttribute("data-" + name) === wanted;
      }) && (!form.elements.wrong.checked || item.getAttribute("data-right") === "no")
        && (!text || item.textContent.toLowerCase().indexOf(text) >= 0);
      item.hidden = !keep;
      if (keep) shown += 1;
    });
    count.textContent = shown + " of " + items.length + " shown";
    none.hidden = shown > 0;
  }
  form.addEventListener("input", apply);
  form.addEventListener("reset", function () { setTimeout(apply, 0); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  apply();
})();
