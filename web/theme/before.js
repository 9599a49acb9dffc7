// Before anything else: FontAwesome must nest its icons, not replace the <i> that a Play widget keeps a hold of.
window.FontAwesomeConfig = { autoReplaceSvg: "nest" };
