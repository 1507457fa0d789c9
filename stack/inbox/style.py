"""The style sheet of the inbox's pages: both themes, from a phone's width on."""

STYLE = """
:root { color-scheme: light dark; --line: #d0d5dd; --quiet: #475467; --ground: #fff;
  --text: #101828; --link: #175cd3; --on: #b42318; --over: #067647; }
@media (prefers-color-scheme: dark) { :root { --line: #344054; --quiet: #b0b8c4; --ground: #111217;
  --text: #eaecf0; --link: #84caff; --on: #fda29b; --over: #75e0a7; } }
html { background: var(--ground); color: var(--text); font: 15px/1.45 system-ui, sans-serif; }
body { max-width: 860px; margin: 0 auto; padding: 12px 16px; overflow-wrap: anywhere; }
h1 { font-size: 20px; margin: 0; }
h2 { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
h3 { font-size: 15px; margin: 0 0 4px; }
p { margin: 0 0 4px; }
a { color: var(--link); }
header p, .who, .empty, dt { color: var(--quiet); font-size: 13px; }
nav ul { display: flex; flex-wrap: wrap; gap: 4px; list-style: none; margin: 12px 0; padding: 0;
  border-bottom: 1px solid var(--line); }
nav a { display: block; padding: 8px; color: var(--text); text-decoration: none; }
nav a[aria-current] { border-bottom: 3px solid var(--link); font-weight: 600; }
nav span { color: var(--quiet); font-size: 12px; }
article { padding: 12px 0; border-bottom: 1px solid var(--line); }
.text, dd { white-space: pre-wrap; }
.slack { display: flex; gap: 10px; }
.slack > div { flex: 1; min-width: 0; }
.avatar { flex: none; width: 36px; height: 36px; border-radius: 6px; background: #175cd3;
  color: #fff; font-weight: 700; line-height: 36px; text-align: center; }
.attachment { padding: 2px 0 2px 12px; border-left: 4px solid; }
.badge { padding: 1px 8px; border: 1px solid; border-radius: 999px; font-size: 12px;
  font-weight: 600; white-space: nowrap; }
.on { color: var(--on); }
.over { color: var(--over); }
dl { margin: 0; }
dd { margin: 0 0 4px; }
ol { margin: 4px 0 0; padding-left: 20px; color: var(--quiet); font-size: 13px; }
"""
