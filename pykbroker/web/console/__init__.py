"""The web console: pages for people who want to see what a cluster has and does.

    GET  /console/                                  the pages: one document, whose modules ask for what follows
    GET  /console/static/…                          scripts and styles
    GET  /console/api/…                             JSON: cluster, topics, records, groups, configs
    POST /console/api/topics/{topic}/records        if `pykbroker.http.console.write.enable`
    GET  /console/api/trace                         Server-Sent Events

Rules
- Off unless `pykbroker.http.console.enable`. Who may ask, and for what, guard decides before anything else runs.
- The broker is asked as any client asks it, by `pykbroker.client`; so what is shown is the whole cluster's.
- No HTML is made of what somebody else wrote: the server answers JSON, and the pages set text. A
  Content-Security-Policy without inline scripts, and with trusted types, sees to it that nobody forgets.
- What is answered has an end: limits stand at the top of each module.

Not here: the pages (../static), HTTP (http_server). Read `console`, then the module of the page in question.
"""
