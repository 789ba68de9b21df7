-- A look-up of many rows by their primary keys in one prepared statement, as the scripts of sysbench are written.

require("oltp_common")

sysbench.cmdline.options.keys = {"Keys of an IN list", 100}

function thread_init()
   drv = sysbench.sql.driver()
   con = drv:connect()
   local marks = string.rep("?, ", sysbench.opt.keys - 1) .. "?"
   stmt = con:prepare("SELECT id, k, c, pad FROM sbtest1 WHERE id IN (" .. marks .. ")")
   params = {}
   for i = 1, sysbench.opt.keys do
      params[i] = stmt:bind_create(sysbench.sql.type.INT)
   end
   stmt:bind_param(unpack(params))
end

function thread_done()
   stmt:close()
   con:disconnect()
end

function event()
   for i = 1, sysbench.opt.keys do
      params[i]:set(sysbench.rand.default(1, sysbench.opt.table_size))
   end
   stmt:execute()
end
